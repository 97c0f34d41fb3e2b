"""Does it fit? What llama.cpp says it needs, what this machine's runtime holds, and what was measured."""
