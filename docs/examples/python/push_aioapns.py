"""Push with aioapns, which knows Apple's hosts only: a class of its own says where the fake is.

python push_aioapns.py HOST:PORT CA_FILE PUSH_PEM TOKEN MAGIC     (pip install aioapns)
"""

import asyncio
import ssl
import sys

from aioapns import APNs, NotificationRequest
from aioapns.connection import APNsProductionClientProtocol

if len(sys.argv) != 6:
    sys.exit("usage: python push_aioapns.py HOST:PORT CA_FILE PUSH_PEM TOKEN MAGIC")
address, ca_file, push_pem, token, magic = sys.argv[1:]
host, port = address.split(":")


class Fake(APNsProductionClientProtocol):
    APNS_SERVER = host
    APNS_PORT = int(port)


async def main() -> None:
    client = APNs(client_cert=push_pem, ssl_context=ssl.create_default_context(cafile=ca_file))
    client.pool.protocol_class = Fake
    result = await client.send_notification(NotificationRequest(device_token=token, message={"mdm": magic}))
    client.pool.close()
    if not result.is_successful:
        sys.exit(f"refused: {result.status} {result.description}")
    print(f"accepted as {result.notification_id}")


asyncio.run(main())
