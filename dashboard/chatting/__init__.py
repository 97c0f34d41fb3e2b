"""The playground's parts: the servers that it starts, what is chosen, the turns of a conversation, marks."""
