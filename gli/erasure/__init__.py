"""Erasure requests, from the first mail to the certificate: a store of plain files and the steps that work on it.

The steps are functions of a :class:`~gli.erasure.store.Store`, in the order of the command ``gli erase``:
:func:`gli.erasure.store.create`, :func:`gli.erasure.requests.add`, :func:`gli.erasure.plan.plan`,
:func:`gli.erasure.run.run`, :func:`gli.erasure.purge.purge_batch`, :func:`gli.erasure.release.release`,
:func:`gli.erasure.verify.verify` and :func:`gli.erasure.status.status`.
"""
