export const metadata = { title: "The shop" };

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body style={{ font: "16px/1.5 system-ui, sans-serif", maxWidth: "40rem", margin: "4rem auto", padding: "0 1rem" }}>
        {children}
      </body>
    </html>
  );
}
