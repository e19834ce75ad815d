"""Two connections made one: bytes are carried both ways as they are, TLS and all."""

from __future__ import annotations

import trio


async def splice(client: trio.SocketStream, upstream: trio.SocketStream, first: bytes) -> None:
    """Carry bytes both ways until both ends have said everything, or one is gone."""

    async def carry(source: trio.SocketStream, target: trio.SocketStream, whole: trio.CancelScope) -> None:
        try:
            while data := await source.receive_some(65536):
                await target.send_all(data)
            await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            whole.cancel()

    try:
        await upstream.send_all(first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, client, upstream, nursery.cancel_scope)
            nursery.start_soon(carry, upstream, client, nursery.cancel_scope)
    except trio.BrokenResourceError:
        return
    finally:
        await trio.aclose_forcefully(upstream)
