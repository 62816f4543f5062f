"""Erasure requests, from the first mail to the certificate: a store of plain files and the steps that work on it.

The steps are functions of a :class:`~gli.erasure.store.Store`, in the order of the command ``gli erase``:
:func:`gli.erasure.store.create`, :func:`gli.erasure.requests.add`, :func:`gli.erasure.batches.plan`,
:func:`gli.erasure.run.run`, :func:`gli.erasure.purge.purge_batch`, :func:`gli.erasure.certificate.release`,
:func:`gli.erasure.certificate.verify` and :func:`gli.erasure.requests.status`.
"""
