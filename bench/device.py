"""A device that reports once a second, and what its session and its alarm did: MQTT 3.1.1 over mutual TLS."""

import asyncio
import json
import ssl
import time

BACKDOOR = 4444


def context(identity):
    files = dict(zip(identity[::2], identity[1::2]))
    tls = ssl.create_default_context(cafile=str(files["--ca"]))
    tls.load_cert_chain(str(files["--cert"]), str(files["--key"]))
    return tls


def report(report_id, ports):
    listed = [{"interface": "eth0", "port": port} for port in ports]
    metrics = {
        "listening_tcp_ports": {"ports": listed, "total": len(listed)},
        "network_stats": {"bytes_in": 4000, "bytes_out": 2000, "packets_in": 40, "packets_out": 20},
    }
    return json.dumps({"header": {"report_id": report_id, "version": "1.0"}, "metrics": metrics}).encode()


def text(value):
    return len(value).to_bytes(2, "big") + value.encode()


def packet(kind, body):
    length, left = b"", len(body)
    while True:
        left, byte = left // 128, left % 128
        length += bytes([byte | (128 if left else 0)])
        if not left:
            return bytes([kind]) + length + body


class Device:
    """One device; all times are of the wall clock, which the server on this machine shares."""

    interval = 1.0

    def __init__(self, server, tls, thing):
        self.server, self.tls, self.thing = server, tls, thing
        self.compromised_at = self.disconnected_at = None

    async def connect(self):
        """Says the return code of CONNACK."""
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.server.port, ssl=self.tls, server_hostname="localhost"
        )
        self.writer.write(packet(0x10, text("MQTT") + bytes([4, 2, 0, 60]) + text(self.thing)))
        kind, body = await self._read()
        assert kind == 0x20, kind
        return body[1]

    async def live(self, delay, compromised_after):
        """Reports every second, from the compromise on with a backdoor, until the server ends the connection."""
        assert await self.connect() == 0
        began = time.time()
        reporting = asyncio.create_task(self._report(delay))
        await asyncio.sleep(compromised_after - (time.time() - began))
        self.compromised_at = time.time()
        await self._until_disconnected()
        reporting.cancel()

    async def _report(self, delay):
        await asyncio.sleep(delay)
        loop = asyncio.get_running_loop()
        next_at, report_id = loop.time(), 0
        while True:
            report_id += 1
            ports = [22, 8080] + ([BACKDOOR] if self.compromised_at else [])
            topic = f"$aws/things/{self.thing}/defender/metrics/json"
            body = text(topic) + report_id.to_bytes(2, "big") + report(report_id, ports)
            self.writer.write(packet(0x32, body))
            next_at += self.interval
            await asyncio.sleep(next_at - loop.time())

    async def _until_disconnected(self):
        try:
            while True:
                await self._read()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.disconnected_at = time.time()
            self.writer.transport.abort()

    async def _read(self):
        kind, length, shift = (await self.reader.readexactly(1))[0], 0, 0
        while True:
            byte = (await self.reader.readexactly(1))[0]
            length, shift = length | (byte & 127) << shift, shift + 7
            if byte < 128:
                return kind, await self.reader.readexactly(length)


class Alerts:
    """A receiver of alerts: when each thing's came, and when the server took the report that raised it."""

    def __init__(self):
        self.alerts = {}

    async def start(self):
        self.listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://127.0.0.1:%d/" % self.listener.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().lower().split("\r\n")
                length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
                alert = json.loads(await reader.readexactly(length))
                if alert["violationEventType"] == "in-alarm":
                    raised_at = alert["violationEventTime"] / 1000
                    self.alerts.setdefault(alert["thingName"], (raised_at, time.time()))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()
