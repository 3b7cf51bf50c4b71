"""Libraries of others inside a namespace, and between two that a veth pair joins."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

import netns
from pytest_netns import Host
from support import here

aiohttp = pytest.importorskip("aiohttp")
from aiohttp import web  # noqa: E402

SERVER, CLIENT = "192.0.2.1", "192.0.2.2"
REQUESTS = 1000


def link(ns: netns.NetNS) -> str:
    return f"net:[{ns.ino}]"


@pytest.fixture
def pair(netns_pair: tuple[Host, Host]) -> tuple[netns.NetNS, netns.NetNS]:
    left, right = netns_pair
    assert (left.address, right.address) == (SERVER, CLIENT)
    return left.ns, right.ns


def test_serve_in_one_and_fetch_from_the_other(pair: tuple[netns.NetNS, netns.NetNS]) -> None:
    """1,000 requests at once in one event loop; a bystander is always at home."""
    server, client = pair
    home = here()
    running = turns = 0
    enough: asyncio.Event  # requests under way at once

    async def hello(request: web.Request) -> web.Response:
        nonlocal running
        running += 1
        if running > REQUESTS / 2:
            enough.set()
        await asyncio.wait_for(enough.wait(), 60)
        return web.Response(text=f"{request.remote} {request.query['n']}")

    async def serve(host: netns.NetNS, ready: asyncio.Future[int]) -> None:
        nonlocal enough
        enough = asyncio.Event()
        app = web.Application()
        app.router.add_get("/", hello)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, SERVER, 0, backlog=REQUESTS)
            await site.start()
            ready.set_result(runner.addresses[0][1])
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def fetch(host: netns.NetNS, port: int) -> list[str]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one(n: int) -> str:
                assert here() == link(client)
                async with session.get(f"http://{SERVER}:{port}/", params={"n": n}) as response:
                    text: str = await response.text()
                    assert here() == link(client)
                    return text

            return await asyncio.gather(*map(one, range(REQUESTS)))

    async def watch() -> None:
        nonlocal turns
        while True:
            assert here() == home
            turns += 1
            await asyncio.sleep(0)

    async def main() -> list[str]:
        bystander = asyncio.create_task(watch())
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(server.do_async(serve, ready))
        answers = await client.do_async(fetch, await ready)
        assert not bystander.done()
        for task in (serving, bystander):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return answers

    assert asyncio.run(main()) == [f"{CLIENT} {n}" for n in range(REQUESTS)]
    print(f"{turns} turns")
    assert turns > 5  # how many events one turn handles depends on the machine
    assert here() == home


def test_httpx(pair: tuple[netns.NetNS, netns.NetNS]) -> None:
    httpx = pytest.importorskip("httpx")
    server, client = pair

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def fetch(host: netns.NetNS, port: int) -> int:
        async with httpx.AsyncClient(trust_env=False) as session:
            return int((await session.get(f"http://{SERVER}:{port}/")).status_code)

    async def main() -> int:
        listening = server.create_server((SERVER, 0))
        port = listening.getsockname()[1]
        async with await asyncio.start_server(answer, sock=listening):
            return await client.do_async(fetch, port)

    assert asyncio.run(main()) == 204


def test_psutil(pair: tuple[netns.NetNS, netns.NetNS]) -> None:
    psutil = pytest.importorskip("psutil")
    server, client = pair
    for ns, device, address in ((server, "left", SERVER), (client, "right", CLIENT)):
        addresses = ns.do(lambda host: psutil.net_if_addrs())
        assert sorted(addresses) == sorted([device, "lo"])
        assert address in [found.address for found in addresses[device]]


def test_sockets_in_an_event_loop(pair: tuple[netns.NetNS, netns.NetNS]) -> None:
    """The sockets are made inside and used from outside; the loop stays at home."""
    server, client = pair

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        with (
            server.socket(type=socket.SOCK_DGRAM) as one,
            client.socket(type=socket.SOCK_DGRAM) as other,
        ):
            one.bind((SERVER, 0))
            for sock in (one, other):
                sock.setblocking(False)
            await loop.sock_connect(other, one.getsockname())
            await loop.sock_sendall(other, b"potato")
            return await asyncio.wait_for(loop.sock_recv(one, 100), 10)

    assert asyncio.run(main()) == b"potato"
