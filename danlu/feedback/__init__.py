"""What people and models said and judged: an append-only store, agreement, and files to learn from."""

from importlib.util import find_spec

from danlu.feedback.errors import FeedbackError

if not all(find_spec(name) for name in ("sqlalchemy", "alembic")):
    raise FeedbackError("the feedback store needs SQLAlchemy and Alembic: pip install 'danlu[studio]'")
