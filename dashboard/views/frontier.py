import streamlit as st

st.write("frontier")
