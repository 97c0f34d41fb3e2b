"""Chats with variants: conversations, how they are sampled, the client that streams them, the server's process."""
