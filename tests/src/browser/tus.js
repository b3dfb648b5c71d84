// tus-js-client uploads a file, to its end.
await open();
return await page.evaluate((input) => new Promise((resolve, reject) => {
  const sending = uploadFile(fileOf(input.file), {
    ...input.options,
    onProgress: show,
    onError: reject,
    onSuccess: () => sending.then((upload) => resolve({ url: upload.url, watch })),
  });
  sending.catch(reject);
}), input);
