// Uppy uploads a file by tus, to its end.
await open();
return await page.evaluate((input) => new Promise((resolve, reject) => {
  const uppy = makeUppy(input.options);
  uppy.on('upload-progress', (file, progress) => show(progress.bytesUploaded));
  uppy.on('upload-success', (file, response) => resolve({ url: response.uploadURL, watch }));
  uppy.on('upload-error', (file, error) => reject(error));
  const file = fileOf(input.file);
  uppy.addFile({ name: file.name, type: file.type, data: file });
  uppy.upload().catch(reject);
}), input);
