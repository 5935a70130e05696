// The editor shows a template whole: a large graph so small that its note cannot be read. Graft's open where their files say, as a dropped file does.
import { app } from '../../scripts/app.js'

app.registerExtension({
  name: 'Graft.Opening',
  afterConfigureGraph() {
    const { extra } = app.graph
    if (!extra?.opensAtItsView) return
    delete extra.opensAtItsView // from here on the graph is its user's: saved and undone, it is seen as they last saw it
    if (!app.extensionManager.setting.get('Comfy.EnableWorkflowViewRestore')) return
    app.canvas.ds.scale = extra.ds.scale
    app.canvas.ds.offset = [...extra.ds.offset]
    app.canvas.setDirty(true, true)
  },
})
