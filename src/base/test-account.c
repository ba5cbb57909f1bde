/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts: the sum is bounded over processes, and a killed one's charge comes back. */
#include "base/account.h"
#include "base/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1ull << 20)

static struct mp_account *account_new(unsigned n, uint64_t limit, int *fd)
{
	uint64_t limits[MP_ACCOUNT_DEVICES];
	struct mp_account *a = NULL;
	unsigned i;

	for (i = 0; i < n; i++)
		limits[i] = limit;
	MP_CHECK_EQ(mp_account_create(NULL, n, limits, &a, fd), 0);
	return a;
}

MP_TEST(charge_is_exact)
{
	struct mp_account *a, *b;
	unsigned s, t;
	int fd;

	a = account_new(2, 10 * MIB, &fd);
	MP_CHECK_EQ(mp_account_open(fd, &b), 0);
	MP_CHECK_EQ(mp_account_join(a, 0, &s), MP_ACCOUNT_OK);
	MP_CHECK_EQ(mp_account_join(b, 0, &t), MP_ACCOUNT_OK);
	MP_CHECK(s != t);
	MP_CHECK_EQ(mp_account_charge(a, s, 0, 6 * MIB), MP_ACCOUNT_OK);
	MP_CHECK_EQ(mp_account_charge(b, t, 0, 4 * MIB + 1), MP_ACCOUNT_FULL);
	MP_CHECK_EQ(mp_account_charge(b, t, 0, UINT64_MAX), MP_ACCOUNT_FULL);
	MP_CHECK_EQ(mp_account_charge(b, t, 0, 4 * MIB), MP_ACCOUNT_OK);
	MP_CHECK_EQ(mp_account_free(a, 0), 0);
	MP_CHECK_EQ(mp_account_free(a, 1), 10 * MIB);
	mp_account_release(a, s, 0, 1 * MIB);
	MP_CHECK_EQ(mp_account_used(b, 0), 9 * MIB);
	mp_account_leave(a, s);
	MP_CHECK_EQ(mp_account_used(b, 0), 4 * MIB);
	mp_account_close(a);
	mp_account_close(b);
	close(fd);
}

/* Forks a process that joins, charges, tells, and waits to be killed. */
static pid_t charger_start(struct mp_account *a, uint64_t bytes)
{
	int p[2];
	char c;
	pid_t pid;

	MP_CHECK_EQ(pipe(p), 0);
	pid = fork();
	if (!pid) {
		unsigned s;

		if (mp_account_join(a, 0, &s) || mp_account_charge(a, s, 0, bytes))
			_exit(1);
		mp_account_set_busy(a, s, true);
		if (write(p[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(p[1]);
	MP_CHECK_EQ(read(p[0], &c, 1), 1);
	close(p[0]);
	return pid;
}

MP_TEST(killed_process_gives_back)
{
	struct mp_account *a;
	unsigned s;
	bool busy;
	pid_t pid;
	int fd;

	a = account_new(1, 10 * MIB, &fd);
	pid = charger_start(a, 8 * MIB);
	MP_CHECK_EQ(mp_account_used(a, 0), 8 * MIB);
	MP_CHECK_EQ(mp_account_reap(a), 0);
	mp_account_activity(a, &busy);
	MP_CHECK(busy);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	MP_CHECK_EQ(mp_account_reap(a), 1);
	MP_CHECK_EQ(mp_account_used(a, 0), 0);
	mp_account_activity(a, &busy);
	MP_CHECK(!busy);

	/* Without a reap, the charge that needs the room finds it. */
	pid = charger_start(a, 8 * MIB);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	MP_CHECK_EQ(mp_account_join(a, 0, &s), MP_ACCOUNT_OK);
	MP_CHECK_EQ(mp_account_charge(a, s, 0, 10 * MIB), MP_ACCOUNT_OK);
	mp_account_close(a);
	close(fd);
}

/* Many processes charge and give back at once while some are killed at any point. */
MP_TEST(killed_anywhere_leaves_nothing)
{
	struct mp_account *a;
	pid_t pid[8];
	int fd, i, round;

	a = account_new(1, 100 * MIB, &fd);
	for (round = 0; round < 20; round++) {
		for (i = 0; i < 8; i++) {
			pid[i] = fork();
			if (!pid[i]) {
				unsigned s;

				if (mp_account_join(a, 0, &s))
					_exit(1);
				for (;;)
					if (!mp_account_charge(a, s, 0, 30 * MIB))
						mp_account_release(a, s, 0, 30 * MIB);
			}
		}
		usleep(5000);
		for (i = 0; i < 8; i++)
			kill(pid[i], SIGKILL);
		for (i = 0; i < 8; i++)
			waitpid(pid[i], NULL, 0);
		MP_CHECK(mp_account_used(a, 0) <= 100 * MIB);
		MP_CHECK(mp_account_reap(a) >= 0);
		MP_CHECK_EQ(mp_account_used(a, 0), 0);
	}
	mp_account_close(a);
	close(fd);
}

MP_TEST(file_outlives_its_maker)
{
	char path[] = "/tmp/mp-account-XXXXXX";
	uint64_t limit = 5 * MIB;
	struct mp_account *a;
	unsigned s;
	int fd;

	fd = mkstemp(path);
	MP_CHECK(fd >= 0);
	MP_CHECK_EQ(mp_account_open(fd, &a), -1);
	close(fd);
	MP_CHECK_EQ(mp_account_create(path, 1, &limit, &a, &fd), 0);
	MP_CHECK_EQ(mp_account_join(a, 0, &s), MP_ACCOUNT_OK);
	MP_CHECK_EQ(mp_account_charge(a, s, 0, MIB), MP_ACCOUNT_OK);
	mp_account_close(a);
	close(fd);
	fd = open(path, O_RDWR);
	MP_CHECK_EQ(mp_account_open(fd, &a), 0);
	MP_CHECK_EQ(mp_account_used(a, 0), MIB);
	mp_account_close(a);
	close(fd);
	unlink(path);
}

MP_TEST_MAIN()
