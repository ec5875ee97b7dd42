// tus-js-client in Node.js. The one argument is JSON:
//   endpoint, key    where to upload to
//   path             the file
//   source           what the client is given: "file", the default, "buffer" or "stream"
//   options          passed to tus.Upload as they are
//   checksum         send Upload-Checksum with every chunk (needs options.chunkSize)
//   onShouldRetry    statuses to try again after, besides those that the client would
//   urls             the file that URLs of unfinished uploads are kept in
//   resume           take up the upload found there
//   abortAfter       stop for good after so many bytes
//   abortSeconds     stop for good after so much time
//   terminate        when stopping so, also delete the upload
// The result is JSON on standard output: {outcome, url, requests: [[method, status], …], …}.
import { createHash } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import tus from 'tus-js-client'

const job = JSON.parse(process.argv[2])
const result = { outcome: null, url: null, found: 0, offsets: [], requests: [] }

// The client has no checksums of its own; which bytes it is about to send is known from the offset.
const whole = job.checksum ? readFileSync(job.path) : null
function addChecksum(request) {
  if (!job.checksum || request.getMethod() !== 'PATCH') return
  const offset = Number(request.getHeader('Upload-Offset'))
  const chunk = whole.subarray(offset, offset + job.options.chunkSize)
  request.setHeader('Upload-Checksum', `sha1 ${createHash('sha1').update(chunk).digest('base64')}`)
}

function finish(outcome) {
  result.outcome = outcome
  result.url = upload.url
  console.log(JSON.stringify(result))
  process.exit(0)
}

function abort() {
  upload.abort(job.terminate ?? false).then(() => finish('aborted'))
}

const options = {
  endpoint: job.endpoint,
  headers: { Authorization: `Bearer ${job.key}` },
  retryDelays: [0, 100, 500],
  ...job.options,
  onBeforeRequest: addChecksum,
  onAfterResponse(request, response) {
    result.requests.push([request.getMethod(), response.getStatus()])
    if (request.getMethod() === 'HEAD') result.offsets.push(response.getHeader('Upload-Offset'))
  },
  onProgress(sent) {
    if (job.abortAfter !== undefined && sent >= job.abortAfter) abort()
  },
  onSuccess: () => finish('success'),
  onError(error) {
    result.status = error.originalResponse?.getStatus()
    result.message = String(error)
    finish('error')
  },
}
if (job.urls) options.urlStorage = new tus.FileUrlStorage(job.urls)
if (job.onShouldRetry) {
  options.onShouldRetry = (error) => {
    const status = error.originalResponse?.getStatus()
    return status === undefined || status >= 500 || job.onShouldRetry.includes(status)
  }
}

const sources = {
  file: () => createReadStream(job.path),
  buffer: () => readFileSync(job.path),
  stream: () => createReadStream(job.path).pipe(new PassThrough()),
}
const upload = new tus.Upload(sources[job.source ?? 'file'](), options)
if (job.resume) {
  const previous = await upload.findPreviousUploads()
  result.found = previous.length
  upload.resumeFromPreviousUpload(previous[0])
}
if (job.abortSeconds) setTimeout(abort, job.abortSeconds * 1000)
upload.start()
