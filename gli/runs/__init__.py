"""Write and read the folder of a run. Reading loads neither torch nor Lightning."""
