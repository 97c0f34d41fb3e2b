import streamlit as st

st.write("devices")
