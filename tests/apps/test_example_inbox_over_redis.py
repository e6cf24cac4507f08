"""examples/django-redis-inbox with the app's Redis code as it was: the same tests in Chromium as without Redis."""

from collections.abc import Iterator

import pytest
from inbox_example import RedisInbox
from test_example_django_redis_inbox import (  # noqa: F401 - collected here, with this file's inbox
    tabs,
    test_a_push_appears_in_both_tabs_and_nowhere_else,
    test_after_a_cut_the_page_reloads_and_goes_on_live,
    test_the_end_to_end_list_of_the_document,
    test_what_is_unread_survives_restarts_of_sidestream_and_of_the_app,
)


@pytest.fixture(scope="module")
def inbox() -> Iterator[RedisInbox]:
    with RedisInbox() as inbox:
        yield inbox
