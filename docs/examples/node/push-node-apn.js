// Push with @parse/node-apn. It takes any address but Apple's for the sandbox, and wants a push certificate with the
// sandbox's mark then: make it with `mdmsim apns certificate --environment both`.
//
//   NODE_EXTRA_CA_CERTS=CA_FILE node push-node-apn.js HOST:PORT PUSH_PEM TOPIC TOKEN MAGIC
import apn from '@parse/node-apn';

if (process.argv.length !== 7) {
  console.error('usage: NODE_EXTRA_CA_CERTS=CA_FILE node push-node-apn.js HOST:PORT PUSH_PEM TOPIC TOKEN MAGIC');
  process.exit(1);
}
const [place, pushPem, topic, token, magic] = process.argv.slice(2);
const [address, port] = place.split(':');

// The port must be a number: as text it is passed over, and 443 is dialled.
const provider = new apn.Provider({ cert: pushPem, key: pushPem, address, port: Number(port) });

const note = new apn.Notification();
note.mdm = magic;
note.topic = topic;
note.pushType = 'mdm';

const { sent, failed } = await provider.send(note, token);
for (const { device } of sent) console.log(`accepted for ${device}`);
for (const { status, response, error } of failed) {
  console.error(`refused: ${status ?? ''} ${response?.reason ?? error?.message}`);
  process.exitCode = 1;
}
await provider.shutdown();
