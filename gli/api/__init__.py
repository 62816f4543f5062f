"""gli from Python: the functions behind ``gli.forget``, ``gli.audit``, ``gli.load`` and ``gli.report``."""
