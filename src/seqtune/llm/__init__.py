"""How a teacher or a judge is asked: requests, the client, the reply store, the budget, a mock server."""
