"""The suite as tests, collected with ``--pyargs curvature_conformance.suite`` and the plugin."""
