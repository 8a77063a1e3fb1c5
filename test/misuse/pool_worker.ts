import { work } from './work.js'

export { task } from './tasks.js'
export default work
