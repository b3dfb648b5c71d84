// Opens a page of an application on another origin than the service's, if not told otherwise, with the upload clients
// in it.
const server = require('http').createServer((request, response) => {
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  response.end('<!doctype html><title>Uploads</title>');
});
await new Promise((ready) => server.listen(input.port, '127.0.0.1', ready));
server.unref();
if (input.cookie) {
  await context.addCookies([{ name: 'file_service_auth', value: input.token, domain: '.cloakroom.test', path: '/',
    httpOnly: true, sameSite: 'Lax' }]);
}
for (const path of input.scripts) await page.addInitScript({ path });
for (const content of input.code) await page.addInitScript({ content });
const open = () => page.goto(input.page);
