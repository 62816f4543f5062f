"""What an audit saw, and what follows from it. ``gli.audit(model, ...)`` audits a model."""

from gli.system.door import make_callable

make_callable(__name__, "gli.api.audit:audit")
