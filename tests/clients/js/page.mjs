// What runs in the browser: Uppy takes the chosen file, uploads it, pauses and resumes once.
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'

const PAUSE = 300

window.upload = ({ endpoint, key, chunkSize, pauseAfter, meta }) => {
  const uppy = new Uppy({ meta }).use(Tus, {
    endpoint,
    chunkSize,
    headers: { Authorization: `Bearer ${key}` },
    retryDelays: [0, 100],
  })
  let pauses = 0
  uppy.on('upload-progress', (_, { bytesUploaded }) => {
    if (pauses > 0 || bytesUploaded < pauseAfter) return
    pauses += 1
    uppy.pauseAll()
    setTimeout(() => uppy.resumeAll(), PAUSE)
  })
  for (const file of document.querySelector('input').files) {
    uppy.addFile({ name: file.name, type: file.type, data: file })
  }
  return uppy.upload().then(({ successful, failed }) => ({
    origin: location.origin,
    pauses,
    urls: successful.map((file) => file.uploadURL),
    errors: failed.map((file) => file.error),
  }))
}
