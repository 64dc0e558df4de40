// One node of several: opens a store in a process of its own, and drains it whenever it is told how.
import { drain, openStore, type Way } from './store-jobs.js'

const [url = '', node = ''] = process.argv.slice(2)
const store = await openStore(url, node)
process.on('message', async (way: Way) => process.send?.(await drain(store, node, way)))
process.once('disconnect', () => store.close())
process.send?.('ready')
