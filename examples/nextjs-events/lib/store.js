// In place of Prisma and SQLite: three users and what they write, in memory, so that the example needs no database.

class Store {
  users = ["alice", "bob", "carol"].map((name, index) => ({ id: String(index + 1), name }));
  conversations = [];
  messages = [];
  notifications = [];
  #lastId = 0;

  constructor() {
    this.createConversation("Bicycle club", ["1", "2", "3"]);
    this.createConversation(null, ["1", "2"]);
  }

  userByPassword(name, password) {
    const expected = process.env.DEMO_PASSWORD ?? "correct horse battery";
    return password === expected ? (this.userByName(name) ?? null) : null;
  }

  userByName(name) {
    return this.users.find((user) => user.name === name);
  }

  name(userId) {
    return this.users.find((user) => user.id === userId).name;
  }

  createConversation(title, members) {
    const conversation = { id: String(this.conversations.length + 1), title, members, lastMessage: null };
    this.conversations.push(conversation);
    return conversation;
  }

  /** A conversation, if this user takes part in it. */
  conversation(id, userId) {
    return this.conversations.find((conversation) => conversation.id === id && conversation.members.includes(userId));
  }

  /** A conversation as one of its members sees it. */
  view(conversation, userId) {
    const { id, title, members, lastMessage } = conversation;
    const others = members.filter((member) => member !== userId).map((member) => this.name(member));
    return { id, title: title ?? others.join(", "), members: others, lastMessage };
  }

  createMessage(conversation, from, text) {
    const message = { id: ++this.#lastId, conversationId: conversation.id, from: this.name(from), text, at: Date.now() };
    this.messages.push(message);
    conversation.lastMessage = message;
    return message;
  }

  createNotification(userId, kind, text, from) {
    const notification = { id: ++this.#lastId, userId, kind, text, from, read: false, at: Date.now() };
    this.notifications.push(notification);
    return notification;
  }
}

// One store for all the bundles of the routes, and for a development server that loads them anew.
export const store = (globalThis.store ??= new Store());
