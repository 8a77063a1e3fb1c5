import { work } from './work.js'

export default work
