// validate.mjs FILE - reads the description with swagger-parser, which follows every reference and checks the whole against
// the schema of OpenAPI 3.1. Prints how many operations there are.
import parser from "@apidevtools/swagger-parser"

const api = await parser.validate(process.argv[2])
const operations = Object.values(api.paths).flatMap((path) => Object.values(path)).filter((op) => op.operationId)
console.log(operations.length)
