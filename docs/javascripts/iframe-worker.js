// Browsers start no worker for a page that was opened as a file: run the search's worker in a hidden frame instead.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inside = frame.contentWindow
      const load = (address) => new Promise((done, fail) => {
        const script = frame.contentDocument.createElement("script")
        Object.assign(script, { src: address, onload: done, onerror: fail })
        frame.contentDocument.head.append(script)
      })
      inside.importScripts = async (...addresses) => { for (const address of addresses) await load(address) }
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      const ready = load(url)
      this.postMessage = (data) => ready.then(() => inside.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
  window.Worker = window.IFrameWorker
}
