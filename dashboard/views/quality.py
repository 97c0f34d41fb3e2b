import streamlit as st

st.write("quality")
