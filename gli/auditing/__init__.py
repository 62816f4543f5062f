"""Records of audits, attacks on models, and their verdicts. Nothing is loaded with the package itself."""

#: Reference models that the relative attack needs: each is attacked with the others.
LEAST_REFERENCES = 3
#: The view that shows the photograph as it was trained on; :mod:`gli.data.views` has the others.
UPRIGHT = "upright"
