"""Events as messages: lines of JSON, and posts to a web server."""

import base64
import json
import logging
import queue
import threading
import time
import urllib.error
import urllib.request
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from .captures import mask_password
from .events import Event

LOGGER = logging.getLogger(__name__)
FIRST_PAUSE = 0.5  # seconds before the second try; doubled before each later one


def event_message(event: Event, **more: Any) -> dict[str, Any]:
    """Make a JSON object of an event and of facts about it, such as its source."""
    return dict(
        more,
        start=round(event.start, 4),
        end=round(event.end, 4),
        label=event.label,
        score=round(event.score, 6),
    )


def write_line(file: IO[str], message: dict[str, Any]) -> None:
    """Write a JSON object as one line, and flush."""
    file.write(json.dumps(message, ensure_ascii=False) + '\n')
    file.flush()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """A redirected POST becomes a GET without its message: let it fail instead."""
        return None


class Webhook:
    """Post messages as JSON to an address, from a thread that never blocks the stream.

    Up to ``capacity`` messages wait for it; of more the oldest are dropped, counted and logged.
    A message that is refused for good (4xx, but for 408 and 429) or still fails after ``retries``
    more tries is dropped as well.

    Args:
        address: http or https; a user and password in it become basic authentication.
        timeout: seconds without an answer after which a try has failed.
        retries: further tries of a message.
        capacity: number of messages.

    Attributes:
        sent (int): messages that were accepted.
        dropped (int): messages that were lost.
        name (str): the address without its password.

    Raises:
        ValueError: for another kind of address.
    """

    def __init__(
        self, address: str, timeout: float = 5.0, retries: int = 3, capacity: int = 100
    ) -> None:
        self.name = mask_password(address)
        url = urlsplit(address)
        if url.scheme not in ('http', 'https') or not url.hostname:
            raise ValueError(
                f'expected the address of a webhook, got {self.name}; fix: one such as '
                'https://host/path'
            )
        self._headers = {'Content-Type': 'application/json'}
        if url.username is not None:
            user = f'{url.username}:{url.password or ""}'.encode()
            self._headers['Authorization'] = f'Basic {base64.b64encode(user).decode()}'
        self._address = urlunsplit(url._replace(netloc=url.netloc.rpartition('@')[2]))
        self._opener = urllib.request.build_opener(_NoRedirects)
        self.timeout, self.retries = timeout, retries
        self.sent = self.dropped = 0
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(capacity)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def post(self, message: dict[str, Any]) -> None:
        """Take a message and return at once."""
        while True:
            try:
                return self._waiting.put_nowait(message)
            except queue.Full:
                self._drop_oldest()

    def close(self, patience: float = 10.0) -> None:
        """Send what waits, for ``patience`` seconds at most; the rest is dropped."""
        deadline = time.monotonic() + patience
        while self._waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.02)
        self._stop.set()
        left = self._waiting.unfinished_tasks
        if left:
            self._lost(left, f'not sent within {patience:g} s after the end')

    def __enter__(self) -> 'Webhook':
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _drop_oldest(self) -> None:
        try:
            self._waiting.get_nowait()
        except queue.Empty:
            return
        self._waiting.task_done()
        self._lost(1, f'{self._waiting.maxsize} others wait')

    def _lost(self, messages: int, why: str) -> None:
        self.dropped += messages
        LOGGER.warning(
            'webhook %s: %d message(s) dropped, %d in all: %s',
            self.name, messages, self.dropped, why,
        )  # fmt: skip

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                message = self._waiting.get(timeout=0.1)
            except queue.Empty:
                continue
            why = self._deliver(json.dumps(message).encode())
            if not self._stop.is_set():
                self.sent += not why
                if why:
                    self._lost(1, why)
            self._waiting.task_done()

    def _deliver(self, body: bytes) -> str:
        # '' or why it could not be delivered.
        why = ''
        for attempt in range(self.retries + 1):
            if attempt and self._stop.wait(FIRST_PAUSE * 2 ** (attempt - 1)):
                break
            request = urllib.request.Request(self._address, body, self._headers, method='POST')
            try:
                with self._opener.open(request, timeout=self.timeout):
                    return ''
            except urllib.error.HTTPError as error:
                why = f'the server answers {error.code}'
                error.close()
                if error.code < 500 and error.code not in (408, 429):
                    break
            except Exception as error:  # http.client's own kinds as well
                why = mask_password(str(getattr(error, 'reason', error)))
        return why
