// fauxqs on HOST PORT: `node fauxqs.mjs APP.JS HOST PORT [DATA_DIR]`, until standard input ends.
import net from "node:net";
import { pathToFileURL } from "node:url";

const [app, host, port, dataDir] = process.argv.slice(2);

// fauxqs 2.4.1 listens on 0.0.0.0, whatever FAUXQS_HOST says (that only changes its queue URLs).
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  return listen.call(this, { ...options, host }, ...rest);
};
delete process.env.FAUXQS_HOST;

// fauxqs 2.4.1 with a data directory forgets a message that is given back (visibility 0): it writes no receive count,
// which its table demands, and fails when it has already taken the message out of its list.
const { PersistenceManager } = await import(new URL("persistence.js", pathToFileURL(app)).href);
PersistenceManager.prototype.updateMessageReady = function (messageId) {
  const givenBack = "UPDATE sqs_messages SET receipt_handle = NULL, visibility_deadline = NULL WHERE message_id = ?";
  this.db.prepare(givenBack).run(messageId);
};

const { startFauxqs } = await import(pathToFileURL(app).href);
const server = await startFauxqs({ port: Number(port), logger: false, ...(dataDir ? { dataDir } : {}) });

const leave = () => {
  setTimeout(() => process.exit(1), 3000).unref();
  server.stop().then(() => process.exit(0));
};
process.on("SIGTERM", leave);
process.on("SIGINT", leave);
process.stdin.resume().on("end", leave); // the parent is gone
