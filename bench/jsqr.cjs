// node jsqr.cjs FOLDER_OF_JSQR FILE. The file: frames of width, height (u32, little endian) and that many grey bytes.
// Prints a JSON list with each frame's code in base64, "" where none was found.
const jsQR = require(process.argv[2]);
const data = require("fs").readFileSync(process.argv[3]);
const found = [];
for (let at = 0; at < data.length; ) {
  const width = data.readUInt32LE(at);
  const height = data.readUInt32LE(at + 4);
  const pixels = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) pixels.fill(data[at + 8 + i], 4 * i, 4 * i + 3);
  at += 8 + width * height;
  const code = jsQR(pixels, width, height);
  found.push(code ? Buffer.from(code.binaryData).toString("base64") : "");
}
process.stdout.write(JSON.stringify(found));
