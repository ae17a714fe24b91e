"""A line with TLS to a plain address, as a web server in front of geminate ends it.

    tls.py LISTEN_PORT PLAIN_PORT CERTIFICATE

Writes a certificate for 127.0.0.1 to the path CERTIFICATE, then serves until it is told to end.
"""

import asyncio
import datetime
import ipaddress
import pathlib
import signal
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PIECE_BYTES = 64 << 10


def certificate():
    """A certificate that vouches for itself, with its key, for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "geminate's clients")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(),
                                      now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1))
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.sign(key, hashes.SHA256())
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                               serialization.NoEncryption())
    return signed.public_bytes(serialization.Encoding.PEM), secret


async def pour(reader, writer):
    """Hands on what comes, and the end of it."""
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(port, plain, path):
    """Serves until told to end."""
    signed, secret = certificate()
    both = path.with_suffix(".both")
    both.write_bytes(signed + secret)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(both)
    both.unlink()

    async def line(reader, writer):
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", plain)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pour(reader, outer), pour(inner, writer))

    over = asyncio.Event()
    for told in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(told, over.set)
    await asyncio.start_server(line, "127.0.0.1", port, ssl=context)
    # Whoever waits for the certificate finds it whole, and somebody listening.
    begun = path.with_suffix(".begun")
    begun.write_bytes(signed)
    begun.rename(path)
    await over.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])))
