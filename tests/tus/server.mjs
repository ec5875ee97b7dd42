// The reference tus server on a free port: files in argv[2], expiry after argv[3] seconds.
import { createServer } from "node:http";
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const [directory, seconds] = process.argv.slice(2);
const tus = new Server({
  path: "/files",
  datastore: new FileStore({
    directory,
    expirationPeriodInMilliseconds: Number(seconds) * 1000,
  }),
  maxSize: 2 ** 40,
});
// On some versions of Node.js a GET of an upload ends in an exception nobody can catch elsewhere;
// the checks after that one shall find a server all the same.
process.on("uncaughtException", (error) => console.error(error));

const http = createServer(tus.handle.bind(tus));
http.listen(0, "127.0.0.1", () => {
  console.log(`ready: http://127.0.0.1:${http.address().port}/files`);
});
