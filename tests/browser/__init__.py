"""The farm as a person sees it: `quantfarm up`, and a browser."""
