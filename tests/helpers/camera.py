"""A live source for tests: MJPEG over HTTP on the loopback interface."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


def picture(number, size=(48, 64)):
    """A frame whose brightness is its number, through JPEG and back."""
    return np.full((*size, 3), 10 * (number % 25), np.uint8)


class Camera(ThreadingHTTPServer):
    """MJPEG over HTTP; each connection lasts for ``frames`` pictures."""

    def __init__(self, frames, pause):
        super().__init__(('127.0.0.1', 0), self.Handler)
        self.frames, self.pause, self.connections = frames, pause, 0
        self.address = f'http://127.0.0.1:{self.server_port}/video'
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.connections += 1
            self.send_response(200)
            self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=frame')
            self.end_headers()
            try:
                for k in range(self.server.frames):
                    data = cv2.imencode('.jpg', picture(k))[1].tobytes()
                    self.wfile.write(
                        b'--frame\r\nContent-Type: image/jpeg\r\n'
                        b'Content-Length: %d\r\n\r\n' % len(data) + data + b'\r\n'
                    )
                    time.sleep(self.server.pause)
            except (BrokenPipeError, ConnectionResetError):
                pass

        def log_message(self, *_):
            pass
