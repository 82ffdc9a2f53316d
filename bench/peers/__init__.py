"""The same work through other clients, each as one of its users would write it, a process of its own."""
