import Link from "next/link";

export const metadata = { title: "Pages" };

const PAGES = ["/isr", "/act", "/picture", "/dynamic/a%20b"];

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body>
        <nav>
          {PAGES.map((page) => (
            <Link key={page} href={page} prefetch={false}>
              {page}
            </Link>
          ))}
        </nav>
        <main>{children}</main>
      </body>
    </html>
  );
}
