"""The farm's pages: what should this device run, why, did anything change, can I trust it. Streamlit only."""
