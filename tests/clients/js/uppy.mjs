// Uppy in a real browser, on a page of another origin than the hub: a browser forbids what CORS
// does not allow. The one argument is JSON: chromium and path, and what page.mjs takes.
// The result is JSON on standard output: page.mjs's and requests: [[method, status], …].
import http from 'node:http'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const { chromium: executablePath, path, ...job } = JSON.parse(process.argv[2])

async function bundle() {
  const entry = fileURLToPath(new URL('page.mjs', import.meta.url))
  const built = await build({ entryPoints: [entry], bundle: true, write: false, format: 'iife' })
  return built.outputFiles[0].text
}

async function serve(script) {
  const html = '<!doctype html><meta charset=utf-8><input type=file><script src=/page.js></script>'
  const server = http.createServer((request, response) => {
    const isScript = request.url === '/page.js'
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html')
    response.end(isScript ? script : html)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

async function uploadIn(browser, url) {
  const page = await browser.newPage()
  const requests = []
  const complaints = []
  page.on('response', (response) => {
    if (!response.url().startsWith(job.endpoint)) return
    requests.push([response.request().method(), response.status()])
  })
  page.on('console', (message) => complaints.push(message.text()))
  await page.goto(url)
  await page.setInputFiles('input', path)
  const result = await page.evaluate((job) => window.upload(job), job)
  return { ...result, requests, complaints }
}

const server = await serve(await bundle())
const browser = await chromium.launch({ executablePath, args: FLAGS })
try {
  console.log(JSON.stringify(await uploadIn(browser, `http://127.0.0.1:${server.address().port}/`)))
} finally {
  await browser.close()
  server.close()
}
