// What the AWS SDK finds under a key: {found, bytes, sha256, contentType} as JSON. Credentials come from the environment.
//   node bucket_object.mjs ENDPOINT BUCKET KEY
import { createHash } from 'node:crypto'
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'

const [endpoint, Bucket, Key] = process.argv.slice(2)
const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true })
try {
  const object = await client.send(new GetObjectCommand({ Bucket, Key }))
  const bytes = await object.Body.transformToByteArray()
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  console.log(JSON.stringify({ found: true, bytes: bytes.length, sha256, contentType: object.ContentType }))
} catch (error) {
  if (error.name !== 'NoSuchKey') throw error
  console.log(JSON.stringify({ found: false }))
}
