"""The playground: sentences, their scenarios and what follows from them, in the browser."""
