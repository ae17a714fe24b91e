import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vite';

const fake = process.env.GEMINATE_ADMIN ?? 'http://127.0.0.1:9191';

// Fixed names and few files: the binary embeds them one by one. Nothing is inlined, for the policy forbids it.
export default defineConfig({
  base: './',
  plugins: [vue()],
  define: { __VUE_OPTIONS_API__: 'false', __VUE_PROD_DEVTOOLS__: 'false' },
  build: {
    target: ['chrome125', 'firefox128', 'safari17.5'],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: false,
    rollupOptions: {
      output: {
        codeSplitting: false,
        entryFileNames: 'assets/app.js',
        assetFileNames: (asset) => (asset.names.some((name) => name.endsWith('.css')) ? 'assets/app.css' : 'assets/[name][extname]'),
      },
    },
  },
  server: { proxy: { '/api': fake, '/debug': fake } },
});
