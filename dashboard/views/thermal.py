import streamlit as st

st.write("thermal")
