"""PyPI httpx-sse, with a token in a header, and the loop around it that its caller has to write.

Prints what it sees as lines of JSON. Arguments: the stream's address, the token.
"""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse


def listen(url: str, token: str) -> None:
    """Reads the stream for ever, from the last id after each end."""
    last_id, wait = "", 3.0
    timeout = httpx.Timeout(5, read=60)  # longer than the time between two heartbeats
    with httpx.Client(timeout=timeout, trust_env=False, headers={"Authorization": f"Bearer {token}"}) as client:
        while True:
            try:
                with connect_sse(client, "GET", url, headers={"Last-Event-ID": last_id} if last_id else {}) as source:
                    source.response.raise_for_status()
                    tell(open=True)
                    for event in source.iter_sse():
                        last_id, wait = event.id, wait if event.retry is None else event.retry / 1000
                        tell(event=event.event, data=event.data, id=event.id)
            except httpx.TransportError as error:
                tell(error=str(error))
            except httpx.HTTPStatusError as error:
                return tell(error=str(error))  # the token is not good any more; one's own code would get another
            time.sleep(wait)


def tell(**line: object) -> None:
    print(json.dumps(line), flush=True)


listen(*sys.argv[1:])
