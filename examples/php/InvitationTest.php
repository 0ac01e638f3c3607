<?php

final class InvitationTest extends PHPUnit\Framework\TestCase
{
    private static $sandbox;
    private static $input;
    private static string $rest;

    public static function setUpBeforeClass(): void
    {
        $var = sys_get_temp_dir() . '/billing-' . uniqid();
        $words = ['billing-server', 'dev', '--var', $var, '--ports', 'auto', '--until-eof'];
        self::$sandbox = proc_open($words, [['pipe', 'r'], ['file', '/dev/null', 'w']], $pipes);
        self::$input = $pipes[0];
        while (!file_exists("$var/dev.json")) {
            self::assertTrue(proc_get_status(self::$sandbox)['running'], 'the sandbox did not start');
            usleep(50_000);
        }
        self::$rest = json_decode(file_get_contents("$var/dev.json"))->rest;
    }

    public static function tearDownAfterClass(): void
    {
        fclose(self::$input); // it stops with its standard input
        proc_close(self::$sandbox);
    }

    public function testAnInvitationIsAccepted(): void
    {
        $reseller = self::call('POST', '/sandbox/v1/resellers', '', new stdClass());
        self::call('POST', '/billing/v1/customers:invite', $reseller->token, [
            'resellerId' => $reseller->resellerId, 'name' => 'Horns and Hooves',
            'invitationEmail' => 'accept@sandbox.example', 'person' => ['name' => 'Ostap'],
        ]);
        self::call('POST', '/sandbox/v1/clock:advance', $reseller->token, ['duration' => '1s']);
        $log = self::call('GET', "/v1/resellers/$reseller->resellerId/events", $reseller->token);
        $this->assertContains('invitation.accepted', array_column($log->events, 'type'));
    }

    private static function call(string $method, string $path, string $token, $body = null): stdClass
    {
        $http = [
            'method' => $method,
            'header' => ['Content-Type: application/json', "Authorization: Bearer $token"],
            'content' => $body === null ? '' : json_encode($body),
        ];
        return json_decode(file_get_contents(self::$rest . $path, false, stream_context_create(['http' => $http])));
    }
}
