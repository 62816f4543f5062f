"""Files, processes, memory and the console: nothing here knows what gli is for."""
